"""Golden losses: what short trainings of every task gave, step by step, so that a change of the code shows."""
