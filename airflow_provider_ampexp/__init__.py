"""The Apache Airflow provider for Amplitude Experiment.

Nothing is imported here: Airflow discovers providers before its configuration is loaded.
"""

__version__ = "0.1.0"
