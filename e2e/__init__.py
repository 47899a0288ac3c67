"""The end-to-end environment: a real Kubernetes cluster, real images and raw disks, made by one command."""
