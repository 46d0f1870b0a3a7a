"""Compare the live service with the emulator, in a scratch project.

``python -m airflow_provider_ampexp.conformance`` creates its own flags and experiments, tests the service with them,
archives them, and prints each difference between the service and the emulator.
"""
