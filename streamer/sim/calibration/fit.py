"""From what was seen to parameters: each is fitted where enough was seen of it, and kept where not.

It must not know recordings, nor judge the fit: `check` does, with samples that were not used here.
"""

from collections.abc import Mapping

from streamer.core.errors import ConfigurationError
from streamer.sim.calibration.drivers import fit_cars, fit_drivers
from streamer.sim.calibration.drives import Reference
from streamer.sim.calibration.fitter import LEAST, Fitter
from streamer.sim.calibration.observed import Observed
from streamer.sim.calibration.places import fit_phones, fit_shoppers, fit_stores
from streamer.sim.parameters import Parameters


def fit(seen: Observed, references: Mapping[str, Reference], before: Parameters) -> Fitter:
    """Fit what can be fitted.

    Args:
        references: of each mall, drawn with `before`.

    Raises:
        ConfigurationError: too few drives or doors were seen for a fit to mean anything.
    """
    lacking = [
        f"{len(samples)} {what}"
        for what, samples in (("drives to a door", seen.drives), ("times at a door", seen.door_s))
        if len(samples) < LEAST
    ]
    if lacking:
        raise ConfigurationError(f"too little to fit: {' and '.join(lacking)}, and {LEAST} of each are needed")
    fitter = Fitter(before)
    fit_cars(fitter, seen, references)
    fit_drivers(fitter, seen)
    fit_stores(fitter, seen)
    fit_phones(fitter, seen)
    fit_shoppers(fitter, seen)
    return fitter
