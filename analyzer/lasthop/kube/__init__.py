"""Services, EndpointSlices and kube-proxy's chain names."""
