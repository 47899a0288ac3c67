"""Whether a volume can have the attributes of a class. Pure, but for the caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.volumes.attributes.kinds import KIND
from controller.volumes.backend import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.volumes.attributes.kinds import VolumeAttributesClass
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers


def find(caches: Caches, name: str) -> VolumeAttributesClass | None:
    """The class of that name; None: there is none that is known."""
    return caches.attributes.get("", name) if caches.attributes is not None else None


def parameters_of(found: VolumeAttributesClass, driver: str, drivers: Drivers) -> Mapping[str, str]:
    """The parameters of a class for a volume of a CSI driver.

    Raises:
        ParameterError: The class is of another driver, or asks for what the volume cannot have.
    """
    name = f"{KIND} {found.metadata.name}"
    if found.driver_name != driver:
        raise ParameterError(f"{name}: driverName is {found.driver_name!r}: expected {driver}, the volume's own")
    attributes = drivers.attributes_of(driver)
    if attributes is None:
        raise ParameterError(f"{name}: volumes of {driver} have no attributes that can be changed: expected no class")
    try:
        attributes.check(found.parameters)
    except ParameterError as error:
        raise ParameterError(f"{name}: {error}") from None
    return found.parameters


def parameters_for(caches: Caches, drivers: Drivers, name: str, driver: str) -> Mapping[str, str]:
    """The parameters of the class of that name for a new volume of a CSI driver.

    Raises:
        ParameterError: There is no such class that is known, or as `parameters_of`.
    """
    found = find(caches, name)
    if found is None:
        raise ParameterError(f"{KIND} {name}, which spec.volumeAttributesClassName names, does not exist")
    return parameters_of(found, driver, drivers)
