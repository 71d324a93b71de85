"""Problems, their features, training and prediction: what a tenant's marts can foretell.

training | prediction     tune -> train -> judge -> promote; the champion's answers of a night
churn | forecast | genre  one folder a problem: its features, its split, its model, its baseline
registry | problem        MLflow and the exported champions; what a problem is, and the catalogue of problems
trees | drift             boosted trees as arrays; how far features have moved
"""
