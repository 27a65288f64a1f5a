"""What a sweep needs and would cost, found out before anything starts."""

from raykd.preview.inspection import check_data
from raykd.preview.preview import Preview, Speed, count_parameters, measured_speed, preview

__all__ = ["Preview", "Speed", "check_data", "count_parameters", "measured_speed", "preview"]
