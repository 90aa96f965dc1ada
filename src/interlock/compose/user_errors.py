"""The errors whose text tells a person what is wrong and what to do; any other is a defect."""

from interlock.adapters.http_connector import HttpServerError
from interlock.adapters.ledger_rows import ReconciliationRefused
from interlock.adapters.mcp_endpoint import McpServerError
from interlock.adapters.mcp_servers_file import McpServersFileError
from interlock.adapters.opa_binary import OpaError
from interlock.adapters.opa_sidecar import SidecarError
from interlock.adapters.policy_bundle import PolicyBundleError
from interlock.adapters.policy_signing_key import PolicySigningKeyError
from interlock.adapters.sandbox_place import SandboxError
from interlock.adapters.signing_key import SigningKeyError
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable
from interlock.adapters.verifying_keys import KeySetError
from interlock.compose.credentials import CredentialError
from interlock.compose.executions import ExecutionNotFound
from interlock.compose.grpc_server import ServerError
from interlock.compose.settings import SettingsError
from interlock.compose.webhooks import WebhookError
from interlock.core.catalog import CatalogError
from interlock.core.errors import InterlockError
from interlock.core.policy_pin import PolicyRollback

USER_ERRORS = (
    CatalogError,
    CredentialError,
    HttpServerError,
    ExecutionNotFound,
    InterlockError,
    KeySetError,
    McpServerError,
    McpServersFileError,
    OpaError,
    PolicyBundleError,
    PolicyRollback,
    PolicySigningKeyError,
    ReconciliationRefused,
    SandboxError,
    ServerError,
    SettingsError,
    SidecarError,
    SigningKeyError,
    StoreUnavailable,
    StoreUnusable,
    WebhookError,
)
