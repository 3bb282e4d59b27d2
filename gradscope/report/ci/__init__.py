"""Reports for CI systems: GitHub, GitLab, JUnit, SARIF."""
