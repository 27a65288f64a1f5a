from raykd.api import FinishedPoint as FinishedPoint
from raykd.api import Results as Results
from raykd.api import load as load
from raykd.api import run_sweep as run_sweep
from raykd.errors import RaykdError as RaykdError
from raykd.predict import Predictor as Predictor
from raykd.sweep import Progress as Progress

__version__: str
