"""CephBucketNotification."""
