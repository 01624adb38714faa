"""What an operator can measure of a running service, in Prometheus' form.

- `table`: every metric once: its name, kind, labels and meaning; `docs/metrics.md` is made from it.
- `collect`: `Metrics`, which counts what happens; durations come from the times of committed events.
- `scrape`: `Scrape`, which looks at the database and the host when it is asked, and writes the page.
"""

from antechamber.metrics.collect import Metrics, watch_loop
from antechamber.metrics.scrape import Fixed, Scrape
from antechamber.metrics.table import TABLE, Kind, Metric, Of

__all__ = ["TABLE", "Fixed", "Kind", "Metric", "Metrics", "Of", "Scrape", "watch_loop"]
