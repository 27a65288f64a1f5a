"""What the journal says of a point whose trial came to its end."""

import pytest
import yaml
from support.tiny_sweeps import sweep

from raykd.plan.file import load_sweep
from raykd.plan.points import expand
from raykd.results.journal import Journal
from raykd.sweep.recorder import Progress, RunRecorder


@pytest.fixture
def recorder(tmp_path):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep()))
    plan = load_sweep(tmp_path / "sweep.yaml")
    made = RunRecorder(plan, Journal.at(tmp_path / "runs"), Progress(), run=1, changed=lambda point_id: None)
    made.add(next(iter(expand(plan))))
    return made


def test_a_point_that_was_under_way_was_stopped_early(recorder):
    (point,) = recorder.points.values()
    recorder.journal.points.start(point.id, 1)
    recorder.ended([point])
    assert recorder.journal.points.state(point.id).status == "stopped"
    assert recorder.counts == {"stopped": 1}


def test_a_point_that_never_began_failed(recorder):
    (point,) = recorder.points.values()
    recorder.ended([point])
    state = recorder.journal.points.state(point.id)
    assert (state.status, state.failures) == ("failed", 1)
    assert "ended before the point began" in state.error
    assert recorder.counts == {"failed": 1}
