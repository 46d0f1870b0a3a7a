"""The Apache Airflow provider for Amplitude Experiment.

Import the names in ``__all__`` of a package, or of a module whose path has no underscore. All other names may change in
any release. Nothing is imported here: Airflow discovers providers before its configuration is loaded.
"""

__version__ = "0.1.0"
