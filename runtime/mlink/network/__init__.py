"""Run control over the network by the ZeroMQ protocol of Syntalos: controller and listener."""
