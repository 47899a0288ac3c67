"""Operations of Cassandra: acts on a Cluster that are carried out once, and schedules of them."""
