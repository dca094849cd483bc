"""When something is done about a ContainerRuntime: what its objects ask for, and what is answered to Gardener."""
