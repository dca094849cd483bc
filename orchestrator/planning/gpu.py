"""What a change does to the GPUs of a node: what the driver's texts and the releases' own lists say, as findings. Pure.

When a driver is judged:

- With the flag ``nvproxy`` wanted, there must be a driver and its ``/dev/nvidiactl``, the wanted release must support
  the driver, no reboot may be pending, and ``/proc/driver/nvidia/params`` must be readable. Anything else is refused:
  runsc asks that device for the driver's version before every sandbox, whether its pod uses a GPU or not, and starts
  none where there is no answer or one that it does not support (runsc/sandbox/sandbox.go, runsc/boot/vfs.go; seen with
  20250205.0, 20260224.0 and 20260905.0).
- Without it, a switch of the release that would drop the driver is refused where the current generation has the flag,
  unless ``nvproxy: false`` says that the GPUs are given up.
- gVisor from 20260525.0 on switches nvproxy on by itself for containers with NVIDIA devices, whatever the flag says. So
  a switch that would drop the driver is also said, as a warning, where nobody asked for the flag.

The list of the release's own binary decides. Where it is not at hand, ``driver_history`` predicts, and only warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.gvisor import driver_history, drivers
from orchestrator.gvisor.finding import Finding
from orchestrator.gvisor.releases import is_release, release_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.planning.desired import DesiredState
    from orchestrator.planning.state import NodeState

AUTOMATIC_SINCE: Final = "20260525.0"
"""From here nvproxy is on for every container with /dev/nvidiactl in its spec (runsc/specutils/nvidia.go)."""

ON, OFF = "--nvproxy=true", "--nvproxy=false"
PARAMS = "/proc/driver/nvidia/params"
CONTROL = "/dev/nvidiactl"


def has_driver(state: NodeState) -> bool:
    """Whether an NVIDIA driver says anything of itself on this node."""
    return bool((state.nvidia.proc or "").strip() or (state.nvidia.module or "").strip())


def verdict(
    state: NodeState, release: str, listing: str, *, flags: Sequence[str] = (), known: Sequence[str] = ()
) -> drivers.Verdict:
    """What a release's own list says of this node's driver; ``known`` are the releases to name as a way out."""
    driver = drivers.driver_in_use(state.nvidia.proc, state.nvidia.module)
    return drivers.judge(
        proc=state.nvidia.proc,
        module=state.nvidia.module,
        supported=listing,
        release=release,
        flags=flags,
        releases=driver_history.releases_listing(driver, known),
    )


def findings(
    desired: DesiredState, state: NodeState, *, target: str | None = None, known: Sequence[str] = ()
) -> list[Finding]:
    """What is to be said of a change on this node, and what forbids it.

    Args:
        desired: how the node shall be.
        state: how it is.
        target: what the wanted release's binary lists, where somebody has asked it; else the node's copy of it counts,
            if there is one.
        known: the releases that can be named as a way out.
    """
    found = around(state, desired.flags) if desired.nvproxy else []
    if not has_driver(state) or any(one.effect == "refuse" for one in found):
        return found
    listing = state.nvidia.supported.get(desired.release) if target is None else target
    if listing is None:
        return [*found, *_predicted(desired, state)]
    judged = verdict(state, desired.release, listing, flags=desired.flags, known=known)
    dropped = _supported_now(state) and judged.kind in {"unknown", "known-unsupported"}
    if desired.nvproxy:
        if judged.kind in drivers.FAILS:
            why = f"runsc {current(state)[0]}, which is in use, supports it" if dropped else f"verdict: {judged.kind}"
            found.append(Finding("refuse", judged.message, why, judged.remedy))
        elif judged.kind == "allowed":
            found.append(Finding("warn", judged.message, "it is not tested by gVisor", "watch the first GPU pods"))
    elif dropped:
        found.extend(_drop(desired, state, judged))
    return found


def around(state: NodeState, flags: Sequence[str]) -> list[Finding]:
    """What must be right for runsc with these flags before any list is looked at."""
    found = surroundings(state) if has_driver(state) else []
    if unanswered := no_sandbox(state, flags):
        # It says more than the warning about missing device files.
        return [unanswered, *(one for one in found if one.effect == "refuse")]
    return found


def no_sandbox(state: NodeState, flags: Sequence[str]) -> Finding | None:
    """What is to be said where runsc with these flags gets no answer from the driver, and so starts no sandbox at all.

    None where it gets one, or does not ask. In a tree that is not running now nobody can know: that is only warned of.
    """
    if ON not in flags or drivers.flag_value(flags, drivers.DRIVER_FLAG):
        return None
    nvidia = state.nvidia
    if not has_driver(state):
        what = "nvproxy is set, and no NVIDIA driver is loaded on this node: no sandbox would start"
        remedy = (
            "load the driver, then run the same command again; or leave nvproxy out for nodes without a GPU "
            f"(from gVisor {AUTOMATIC_SINCE} on, containers that are given a GPU need no flag)"
        )
    elif nvidia.files is not None and CONTROL.removeprefix("/dev/") not in nvidia.files:
        driver = drivers.driver_in_use(nvidia.proc, nvidia.module)
        what = f"nvproxy is set, and NVIDIA driver {driver} has no {CONTROL} on this node: no sandbox would start"
        remedy = "nvidia-smi on the node makes the device files; then run the same command again"
    else:
        return None
    why = f"runsc with this flag asks {CONTROL} before every sandbox, also where a pod uses no GPU"
    return Finding("refuse" if state.host.is_live else "warn", what, why, remedy)


def surroundings(state: NodeState) -> list[Finding]:
    """What must be right on a node with a driver before any list is looked at."""
    nvidia = state.nvidia
    if problem := drivers.unusable(nvidia.proc, nvidia.module):
        return [Finding("refuse", problem.message, f"verdict: {problem.kind}", problem.remedy)]
    driver = drivers.driver_in_use(nvidia.proc, nvidia.module)
    if not nvidia.params_readable:
        return [
            Finding(
                "refuse",
                f"{PARAMS} cannot be read",
                f"NVIDIA driver {driver} is loaded, and runsc reads this file for every GPU container",
                f"look why on the node: cat {PARAMS}",
            )
        ]
    missing = [] if nvidia.devices else ["/proc/driver/nvidia/gpus names no GPU"]
    if nvidia.files is not None:
        missing += [f"/dev/{name} is missing" for name in ("nvidiactl", "nvidia-uvm") if name not in nvidia.files]
    if missing:
        return [
            Finding(
                "warn",
                f"NVIDIA driver {driver} is loaded, but GPU containers may find no device",
                ", ".join(missing),
                "nvidia-smi on the node shows the GPUs and makes the device files",
            )
        ]
    return []


def _predicted(desired: DesiredState, state: NodeState) -> list[Finding]:
    """What the data says where the wanted release is not at hand: a warning, because its own list decides."""
    driver = drivers.driver_in_use(state.nvidia.proc, state.nvidia.module)
    guess = driver_history.predict(driver, desired.release)
    concerned = desired.nvproxy or (_uses_gpus(state) and _supported_now(state))
    told_otherwise = any(drivers.flag_value(desired.flags, name) for name in (drivers.ALLOW_FLAG, drivers.DRIVER_FLAG))
    if guess not in {"unsupported", "known-unsupported"} or not concerned or told_otherwise:
        return []
    time = driver_history.lifetime(driver)
    return [
        Finding(
            "warn",
            f"runsc {desired.release} probably does not support this node's NVIDIA driver {driver}",
            "by the data of gvisor-nodes" + (f" (gVisor listed it {time})" if time else ""),
            "the release's own list decides when it is there: gvisor-nodes drivers check",
        )
    ]


def _drop(desired: DesiredState, state: NodeState, judged: drivers.Verdict) -> list[Finding]:
    release, flags = current(state)
    if ON in flags and OFF not in desired.flags:
        return [
            Finding(
                "refuse",
                f"the switch to runsc {desired.release} would drop this node's NVIDIA driver {judged.driver}",
                f"runsc {release} supports it, and the current generation has the flag nvproxy",
                f"{judged.remedy}; if the GPUs are given up, say so: nvproxy: false in runsc_flags",
            )
        ]
    if _uses_gpus(state):
        return [
            Finding(
                "warn",
                f"runsc {desired.release} does not support this node's NVIDIA driver {judged.driver}",
                f"runsc {release} does; GPU containers in new pods would fail",
                judged.remedy,
            )
        ]
    return []


def current(state: NodeState) -> tuple[str, tuple[str, ...]]:
    """Release and flags of the current generation; "" and none where there is none."""
    generation = state.tree.generations.get(state.tree.current or "")
    if generation is None or not generation.release:
        return "", ()
    return generation.release, tuple((generation.flags or "").split())


def _supported_now(state: NodeState) -> bool:
    listing = state.nvidia.supported.get(current(state)[0], "")
    return drivers.lists(listing, drivers.driver_in_use(state.nvidia.proc, state.nvidia.module))


def _uses_gpus(state: NodeState) -> bool:
    """Whether GPU containers can be running in gVisor on this node now."""
    release, flags = current(state)
    automatic = is_release(release) and release_key(release) >= release_key(AUTOMATIC_SINCE)
    return automatic or ON in flags
