"""The ledger of jobs and what moves a job through its life."""
