"""Where fits are computed. Nothing of it enters a hash: another engine gives the same bits."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from crossattn_core.experiment.section import Section

__all__ = ["ComputeSettings"]


class ComputeSettings(Section):
    """The engine that fits run on, and what each of them is given there."""

    not_hashed: ClassVar[frozenset[str]] = frozenset(
        {"engine", "address", "local_cpus", "cpus", "gpus", "memory_gib", "retries", "threads"}
    )

    engine: Literal["in_process", "ray"] = "in_process"
    """in_process: one fit after the other, in the process that asks. ray: Ray Core (crossattn[ray]), many at once."""
    address: str | None = None
    """Of a running Ray cluster ('10.0.0.1:6379', 'auto'); none: a cluster of this process, on 127.0.0.1, gone when it is."""
    local_cpus: int = Field(default=0, ge=0, le=4096)
    """CPUs of the cluster that is started where there is no address; 0: as many as this process may use."""
    cpus: float = Field(default=1.0, gt=0, le=4096)
    """CPUs that one fit is scheduled on."""
    gpus: float = Field(default=0.0, ge=0, le=64)
    """GPUs that one fit is scheduled on; 0 where training.device is 'cpu'. A part of one, 0.25, lets four fits share it:
    members of an ensemble, families and days side by side."""
    memory_gib: float | None = Field(default=None, gt=0)
    """Memory that one fit is scheduled with, GiB; none: not counted."""
    retries: int = Field(default=3, ge=0, le=100)
    """Times that a fit whose worker or node died is begun again. What the fit itself raises is never tried again."""
    threads: int = Field(default=0, ge=0, le=4096)
    """Threads of the linear algebra in a worker; 0: as many as in this process. Another number may give other bits."""

    @field_validator("gpus")
    @classmethod
    def _several_gpus_are_whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus % 1:
            raise ValueError(f"a fit cannot have {gpus} GPUs: give it a part of one (0.25: four fits share it) or whole ones")
        return gpus
