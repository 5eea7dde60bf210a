"""Every tenant's schema brought to the template's newest revision, as one supervised rollout."""
