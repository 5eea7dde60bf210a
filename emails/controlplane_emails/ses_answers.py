"""What SES's answers, and their absence, say of a mail. Pure.

SES's own words are not repeated: they quote addresses.
"""

from typing import Any

from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProxyConnectionError,
    SSLError,
)

from controlplane.errors import ProviderRefused, ProviderUnavailable, SendUncertain, StepError

_HOW_TO = "see docs/how-to/mail-ses.md"
_BUSY_S = 2.0
_QUOTA_S = 900.0  # a daily quota is a sliding window: soon again there is room for some
_SERVER_ERROR = 500
_SHEDDING = 503

_BUSY = {"TooManyRequestsException", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
_UNVERIFIED = (
    "an address or domain is not verified; verify the sender's, and while the account is in SES's "
    "sandbox, the recipient's too"
)
_REFUSED = {
    "MessageRejected": "it does not take this content",
    "MailFromDomainNotVerifiedException": "the MAIL FROM domain is not verified; finish its DNS records",
    "AccountSuspendedException": "the account may no longer send; AWS support lifts that",
    "BadRequestException": "it does not take this address",
}
# They are not the mail's fault: it goes out once they are mended.
_TO_BE_MENDED = {
    "NotFoundException": "there is no configuration set of this name in the region",
    "SendingPausedException": "sending is paused for the account or the configuration set",
    "AccessDenied": f"these credentials may not send; {_HOW_TO}",
    "AccessDeniedException": f"these credentials may not send; {_HOW_TO}",
    "ExpiredToken": "the session's credentials have expired",
    "ExpiredTokenException": "the session's credentials have expired",
    "InvalidClientTokenId": "it does not know the access key",
    "UnrecognizedClientException": "it does not know the access key",
    "SignatureDoesNotMatch": "the access key has another secret there",
    "InvalidSignatureException": "the access key has another secret there, or this clock is wrong",
    "RequestExpired": "the clocks differ too much; set this machine's by NTP",
    "RequestTimeTooSkewed": "the clocks differ too much; set this machine's by NTP",
    "OptInRequired": "the account is not set up for SES in this region",
}


def answered(response: dict[str, Any]) -> StepError:
    """What an answer other than success means."""
    code = str(response["Error"].get("Code"))
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _BUSY:
        after_s = _retry_after_s(response) or _BUSY_S
        return ProviderUnavailable(f"SES asks to come back later ({code}).", retry_after=after_s)
    if code == "LimitExceededException":
        return ProviderUnavailable("The quota of SES is used up.", retry_after=_QUOTA_S)
    if code in _TO_BE_MENDED:
        return ProviderUnavailable(f"SES refused ({code}): {_TO_BE_MENDED[code]}.")
    if status == _SHEDDING:
        return ProviderUnavailable(
            f"SES is not there ({code}).", retry_after=_retry_after_s(response)
        )
    if status >= _SERVER_ERROR:
        return SendUncertain(f"SES failed ({code}); it may have taken the mail.")
    return ProviderRefused(f"SES refused ({code}){_remedy(code, response)}.")


def unanswered(error: Exception) -> StepError:
    """What it means that no answer came."""
    kind = type(error).__name__
    if isinstance(error, NoCredentialsError):
        return unprepared(error)
    if isinstance(error, ParamValidationError):
        return ProviderRefused(f"SES takes no such mail ({kind}).")
    if _before_the_request(error):
        return ProviderUnavailable(f"SES cannot be reached ({kind}).")
    return SendUncertain(f"SES did not answer ({kind}); it may have taken the mail.")


def unprepared(error: Exception) -> ProviderUnavailable:
    """What it means that no request could be made."""
    if isinstance(error, NoRegionError):
        return ProviderUnavailable("Name SES's region: CONTROLPLANE_MAIL_SES_REGION.")
    return ProviderUnavailable(
        f"There are no credentials for SES ({type(error).__name__}); give the workers a role, or an "
        "access key as boto3 expects it."
    )


def _before_the_request(error: Exception) -> bool:
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    return isinstance(error, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError)


def _remedy(code: str, response: dict[str, Any]) -> str:
    if code == "MessageRejected" and "not verified" in str(response["Error"].get("Message")):
        return f": {_UNVERIFIED}"
    return f": {_REFUSED[code]}" if code in _REFUSED else ""


def _retry_after_s(response: dict[str, Any]) -> float | None:
    text = response["ResponseMetadata"].get("HTTPHeaders", {}).get("retry-after", "")
    return float(text) if text.isdecimal() else None
