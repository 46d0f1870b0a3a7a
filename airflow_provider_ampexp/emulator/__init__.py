"""A local Management API, to try DAGs without an account.

It is written from the contract and imports no other package of this provider. So it does not repeat a mistake of the
client.
This module imports nothing, so an import of a single module stays fast.
"""
