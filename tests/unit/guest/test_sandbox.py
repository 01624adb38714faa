"""The proof that renderers are confined, on pictures of /proc."""

from __future__ import annotations

from antechamber.guest import sandbox


def process(proc, pid, parent, kind, *, seccomp=2, depth=3):
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    inner = "\t".join(str(pid + level) for level in range(depth))
    (folder / "status").write_text(f"Name:\tchromium\nPPid:\t{parent}\nNSpid:\t{inner}\nSeccomp:\t{seccomp}\n")
    (folder / "cmdline").write_bytes(b"/usr/lib/chromium/chromium\0--type=" + kind + b"\0")


def browser(tmp_path, **renderer):
    process(tmp_path, 10, 1, b"none", seccomp=2, depth=1)
    process(tmp_path, 11, 10, b"zygote", seccomp=0, depth=2)
    process(tmp_path, 12, 10, b"gpu-process", seccomp=0, depth=1)
    process(tmp_path, 20, 11, b"renderer", **renderer)
    return sandbox.look(10, tmp_path)


def test_renderers_with_a_filter_and_a_namespace_of_their_own_are_confined(tmp_path):
    assert browser(tmp_path) == sandbox.Sandbox(ok=True, renderers=1, detail="depth 1")


def test_a_renderer_without_a_filter_is_not_confined(tmp_path):
    assert not browser(tmp_path, seccomp=0).ok


def test_a_renderer_in_the_browsers_own_namespace_is_not_confined(tmp_path):
    seen = browser(tmp_path, depth=1)
    assert not seen.ok
    assert "depth 1" in seen.detail


def test_one_bad_renderer_among_good_ones_is_enough(tmp_path):
    process(tmp_path, 21, 11, b"renderer", seccomp=0)
    assert not browser(tmp_path).ok


def test_without_a_renderer_nothing_is_proved(tmp_path):
    process(tmp_path, 10, 1, b"none")
    assert sandbox.look(10, tmp_path) == sandbox.Sandbox(ok=False, renderers=0, detail="depth 3")
    assert not sandbox.look(99, tmp_path).ok


def test_another_programs_child_that_calls_itself_a_renderer_does_not_count(tmp_path):
    process(tmp_path, 10, 1, b"none")
    process(tmp_path, 30, 1, b"cli")
    process(tmp_path, 31, 30, b"renderer")
    assert sandbox.look(10, tmp_path).renderers == 0
