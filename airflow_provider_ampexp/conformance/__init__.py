"""Compare the live service with the emulator, in a scratch project.

``python -m airflow_provider_ampexp.conformance`` creates flags and experiments of its own, asks what the service does,
archives them, and prints where the service and the emulator differ.
"""
