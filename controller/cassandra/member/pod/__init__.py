"""What runs in a member's pod: it starts Cassandra, and answers probes and the operator.

This package stands alone: a container of the operator's image copies it into the pod, it needs nothing but Python 3.8
and the jars beside it, and the operator does not import it. It knows where Cassandra is in the well-known image, and
starts it from its jars with the configuration that the operator made.

JMX stays within the pod. The operator's questions and commands come through this program, which lets in only who has
the password, by TLS where the cluster has certificates.
"""
