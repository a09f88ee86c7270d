"""The Grafana dashboards as a person writes them; `make docs` writes them as Grafana reads them."""
