"""synthetic_rain: rain composed onto clean photographs."""
