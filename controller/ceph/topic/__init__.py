"""CephBucketTopic."""
