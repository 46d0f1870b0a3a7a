"""A local Management API, to try DAGs without an account.

It is written from the contract alone and imports no other room of this provider: a witness, not an echo.
Nothing is imported here, so that importing one module of it stays cheap.
"""
