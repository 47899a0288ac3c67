"""ObjectBucketClaim and ObjectBucket: buckets for programs, each with a user of its own."""
