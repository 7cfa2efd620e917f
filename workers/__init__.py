"""The processes beside the web: RQ workers, and the clock that wakes them."""
