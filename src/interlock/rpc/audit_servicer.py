"""AuditService over the flows."""

from interlock.core.identity import CallerKind
from interlock.flows.page_tokens import Seal
from interlock.flows.read_records import Query, get_record, list_records
from interlock.ports import RecordReader
from interlock.rpc import wire
from interlock.rpc.endpoint import Call, caller_of
from interlock.v1 import audit_service_pb2 as pb


class AuditServicer:
    """ListRecords and GetRecord, for auditors."""

    service = pb.DESCRIPTOR.services_by_name["AuditService"]

    def __init__(self, *, reader: RecordReader, seal: Seal) -> None:
        """`seal` makes page tokens that only this service can have given."""
        self._reader = reader
        self._seal = seal

    async def list_records(self, request: pb.ListRecordsRequest, call: Call) -> pb.ListRecordsResponse:
        """A page of records."""
        caller = caller_of(call, CallerKind.AUDITOR)
        query = Query(
            page_size=request.page_size,
            page_token=request.page_token,
            type=wire.record_type(request.type),
            decision_id=request.decision_id,
        )
        page, following = await list_records(query, caller, self._reader, self._seal)
        return pb.ListRecordsResponse(records=map(wire.record, page), next_page_token=following)

    async def get_record(self, request: pb.GetRecordRequest, call: Call) -> pb.GetRecordResponse:
        """One record."""
        caller = caller_of(call, CallerKind.AUDITOR)
        return pb.GetRecordResponse(
            record=wire.record(await get_record(request.log_index, caller, self._reader))
        )
