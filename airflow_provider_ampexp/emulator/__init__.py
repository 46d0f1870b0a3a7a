"""A local Management API, to try DAGs without an account.

It is written from the contract alone and imports no other package of this provider. So a mistake in the client is not
repeated here.
Nothing is imported here, so that importing one module of it stays cheap.
"""
