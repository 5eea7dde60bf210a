"""What the keys of this installation are good for."""

from controlplane.identity.sealing import Sealing
from controlplane.identity.tokens import NoTokens, SignedTokens
from controlplane.ports import PrincipalVerifier
from controlplane.settings import Settings


def open_verifier(settings: Settings) -> PrincipalVerifier:
    """What knows the tokens of tenants' users; without a key, it knows none."""
    return signed_tokens(settings) or NoTokens()


def signed_tokens(settings: Settings) -> SignedTokens | None:
    """What signs tokens of tenants' users, where there is a key."""
    if settings.tenant_token_key is None:
        return None
    key = settings.tenant_token_key.get_secret_value().encode()
    return SignedTokens(key, audience=settings.base_domain)


def open_sealing(settings: Settings) -> Sealing | None:
    """What seals tenants' secrets, where there is a key."""
    if settings.secrets_key is None:
        return None
    return Sealing(settings.secrets_key.get_secret_value().encode())
