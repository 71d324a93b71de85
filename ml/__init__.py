"""Problems, their features, training and prediction: what a tenant's marts can foretell."""
