"""HTTP service of exported translation models; knows of ``nmt`` only the artifact, the translator and the engine."""
