"""Identity without a person: what a machine, a pod or a CI job can show to a gateway instead of a login."""

from airtunnel.identity.workload.find import find_identity
from airtunnel.identity.workload.present import WorkloadIdentity

__all__ = ["WorkloadIdentity", "find_identity"]
