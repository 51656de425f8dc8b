"""`rollcall up`: MongoDB, the server and Envoy together on one machine."""
