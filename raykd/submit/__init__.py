"""A sweep as a job of a Ray cluster."""

from raykd.submit.cluster import Cluster, Token, cluster_address, find_token
from raykd.submit.job import Job, make_job, request, secret_variables, shared_storage, submission_id

__all__ = [
    "Cluster",
    "Job",
    "Token",
    "cluster_address",
    "find_token",
    "make_job",
    "request",
    "secret_variables",
    "shared_storage",
    "submission_id",
]
