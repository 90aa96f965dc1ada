"""The pure core: values and rules, without any IO."""
