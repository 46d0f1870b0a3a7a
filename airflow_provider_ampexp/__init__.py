"""The Apache Airflow provider for Amplitude Experiment.

Import modules whose path has no underscore, and the names in a package's ``__init__.py``. All other modules may change
in any release. Nothing is imported here: Airflow discovers providers before its configuration is loaded.
"""

__version__ = "0.1.0"
