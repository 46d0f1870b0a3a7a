"""Tests of the evaluation of users, compared with the vendor's own evaluator."""
