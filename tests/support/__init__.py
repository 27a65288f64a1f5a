"""What tests are made of: small worlds, clusters, servers and folders of results."""
