"""Run src.bulk on a cluster of nodes with one CPU each, on this machine."""

import sys

from ray.cluster_utils import Cluster

from src.bulk import main

if __name__ == "__main__":
    nodes, *arguments = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(int(nodes) - 1):
        cluster.add_node(num_cpus=1)
    code = main([*arguments, "--ray", cluster.address])
    cluster.shutdown()
    sys.exit(code)
