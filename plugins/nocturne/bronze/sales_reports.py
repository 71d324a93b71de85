"""DDEX sales reports (DSR flat files) as records of text: the sales and usages, each with what its block and its report say of it.

A report is lines of cells between tabs; the first cell says which record it is, and with it which cells follow, whatever profile and
version the header claims: senders use records of other versions than they claim. A record that is not known here is read by the comment
line that names its cells, if there is one.

    HEAD, SRHE   the report        SY   sums, by territory, use and currency; others name them by SummaryRecordId
    AS, MW, RE   of a block: the resource, its works, its release
    SU, RU, LI   of a block: a sale or usage, the releases it was used in, a claim on it     SR   all of that in one record
    FOOT, SRFO   how many lines, sums and blocks there are: a file that has others is refused

Each SU, RU, LI and SR record is a row, at its line. Its columns are its own cells and those of the records that belong to it, as
`SU_Usages`, `AS_ISRC`, `SY_Territory` or `HEAD_MessageId`; `record` says what it is. Of several values in a cell, `|` stands between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Self

import pyarrow as pa

from nocturne.bronze.reading import MAX_LINE, SEND_AGAIN, Batch, Records, chunks
from nocturne.errors import DeliveryError
from nocturne.manifests import Delivered

_CELLS_OF: Final = """
    AS01: BlockId ResourceReference DspResourceId ISRC Title SubTitle DisplayArtistName DisplayArtistPartyId Duration ResourceType
    AS01.01: BlockId ResourceReference DspResourceId ISRC* Title SubTitle DisplayArtistName DisplayArtistPartyId Duration ResourceType
        IsMasterRecording
    AS02: BlockId ResourceReference DspResourceId ISRC Title SubTitle DisplayArtistName DisplayArtistPartyId Duration ResourceType ISWC
        ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher* MusicPublisherPartyId* WorkContributor*
        WorkContributorPartyId*
    AS02.01: BlockId ResourceReference DspResourceId ISRC Title SubTitle DisplayArtistName DisplayArtistPartyId Duration ResourceType
        ISWC ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher* MusicPublisherPartyId* WorkContributor*
        WorkContributorPartyId* ProprietaryWorkId
    AS02.02: BlockId ResourceReference DspResourceId ISRC* Title SubTitle DisplayArtistName DisplayArtistPartyId Duration ResourceType
        ISWC ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher* MusicPublisherPartyId* WorkContributor*
        WorkContributorPartyId* ProprietaryWorkId IsMasterRecording
    DE01: DealSpecificCell*
    FOOT: NumberOfLinesInFile NumberOfLinesInReport NumberOfSummaryRecords NumberOfBlocksInFile NumberOfBlocksInReport
    HEAD SRHE: MessageVersion Profile ProfileVersion MessageId MessageCreatedDateTime FileNumber NumberOfFiles UsageStartDate
        UsageEndDate SenderPartyId SenderName ServiceDescription RecipientPartyId RecipientName RepresentedRepertoire*
    LI01 LI01.01: BlockId SummaryRecordId RightsController RightsControllerPartyId RightsControllerWorkId RightSharePercentage
        RightsType AllocatedNetRevenue AllocatedAmount
    LI01.02: BlockId SummaryRecordId RightsController RightsControllerPartyId RightsControllerWorkId RightSharePercentage RightsType
        AllocatedNetRevenue AllocatedAmount AllocatedUsages
    MW01: BlockId DspWorkId ISWC Title SubTitle ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher*
        MusicPublisherPartyId* WorkContributor* WorkContributorPartyId* DataProvider
    MW01.01: BlockId DspWorkId ISWC Title SubTitle ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher*
        MusicPublisherPartyId* WorkContributor* WorkContributorPartyId* DataProvider ProprietaryWorkId
    RE01: BlockId ReleaseReference DspReleaseId ProprietaryReleaseId* CatalogNumber ICPN DisplayArtistName DisplayArtistPartyId Title
        SubTitle ReleaseType Label PLine DataProvider
    RE02: BlockId ReleaseReference DspSubReleaseId ProprietarySubReleaseId* UsedResources*
    RU01: BlockId SummaryRecordId DspReleaseId* Usages*
    RU01.01: BlockId SummaryRecordId DspReleaseId* Usages* ContentCategory
    RU02: BlockId SummaryRecordId DspReleaseId ReleaseTitle ReleaseURL Usages
    RU02.01: BlockId SummaryRecordId DspReleaseId ReleaseTitle ReleaseURL Usages ContentCategory
    SR01: SummaryRecordId DspResourceId ISRC ResourceTitle ResourceSubTitle ResourceDisplayArtistName ResourceDisplayArtistPartyId
        Duration ResourceType ProprietaryWorkId ISWC ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher*
        MusicPublisherPartyId* WorkContributor* WorkContributorPartyId* DspReleaseId ProprietaryReleaseId* ReleaseCatalogNumber ICPN
        ReleaseDisplayArtistName ReleaseDisplayArtistPartyId ReleaseTitle ReleaseSubTitle ReleaseType ReleaseLabel PLine
        ReleaseDataProvider NumberOfTransactedResources SalesTransactionId IsRoyaltyBearing SalesUpgrade Downloads Returns
        PriceConsumerPaidExcSalesTax CalculatedPriceConsumerPaidForResourceExcSalesTax PromotionalActivity
    SR02: SummaryRecordId DspResourceId ISRC ResourceTitle ResourceSubTitle ResourceDisplayArtistName ResourceDisplayArtistPartyId
        Duration ResourceType ProprietaryWorkId ISWC ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher*
        MusicPublisherPartyId* WorkContributor* WorkContributorPartyId* DspReleaseId ProprietaryReleaseId* ReleaseCatalogNumber ICPN
        ReleaseDisplayArtistName ReleaseDisplayArtistPartyId ReleaseTitle ReleaseSubTitle ReleaseType ReleaseLabel PLine
        ReleaseDataProvider SalesTransactionId IsRoyaltyBearing NumberOfStreams PromotionalActivity
    SR03: SummaryRecordId DspResourceId ISRC ResourceTitle ResourceSubTitle ResourceDisplayArtistName ResourceDisplayArtistPartyId
        Duration ResourceType WorkTitle DspWorkId ISWC ComposerAuthor* ComposerAuthorPartyId* Arranger* ArrangerPartyId* MusicPublisher*
        MusicPublisherPartyId* WorkContributor* WorkContributorPartyId* DspReleaseId ProprietaryReleaseId* CatalogNumber ICPN
        ReleaseDisplayArtistName ReleaseDisplayArtistPartyId ReleaseTitle ReleaseSubTitle ReleaseLabel PLine SalesTransactionId Usages
        NetRevenue ValidityPeriodStart ValidityPeriodEnd ContentCategory RightsController RightsControllerPartyId RightsControllerWorkId
        RightSharePercentage RightsType AllocatedNetRevenue AllocatedAmount AllocatedUsages AllocatedNetUsage
    SR06: SummaryRecordId DspResourceId ISRC ResourceTitle ResourceSubTitle ResourceDisplayArtistName ResourceDisplayArtistPartyId
        WorkTitle DspWorkId ISWC ComposerAuthor* ComposerAuthorPartyId* Usages ValidityPeriodStart ValidityPeriodEnd ContentCategory
        RightsController RightsControllerPartyId RightsControllerWorkId RightSharePercentage RightsType AllocatedAmount
        AllocatedNetUsage
    SR08: SalesTransactionId ReleaseGRid ReleaseICPN DspReleaseId LabelReleaseId ProprietaryReleaseId* ReleaseContextReleaseGRid
        ReleaseType ReleaseTitle ReleaseSubTitle ReleaseDisplayArtistName ReleaseDisplayArtistPartyId ResourceISRC ResourceISAN
        DspResourceId LabelResourceId ProprietaryResourceId* ResourceContextReleaseGRid ResourceType ResourceTitle ResourceSubTitle
        ResourceDisplayArtistName ResourceDisplayArtistPartyId SummaryRecordId SalesTransactionDate TotalUsages Returns NetUsage
        WholesalePriceInCurrencyOfTransaction WholesalePriceInCurrencyOfAccounting SuggestedConsumerPriceInCurrencyOfTransaction
        SuggestedConsumerPriceInCurrencyOfAccounting PriceType PriceRangeType PriceConsumerPaidExcSalesTaxInCurrencyOfTransaction
        PriceConsumerPaidExcSalesTaxInCurrencyOfAccounting DeductionType* DeductionsInCurrencyOfTransaction*
        DeductionsInCurrencyOfAccounting* RightSharePercentage CalculatedUnitPriceInCurrencyOfTransaction
        CalculatedUnitPriceInCurrencyOfAccounting AllocatedRevenueInCurrencyOfTransaction AllocatedRevenueInCurrencyOfAccounting
        AllocatedNetRevenueInCurrencyOfTransaction AllocatedNetRevenueInCurrencyOfAccounting CopyrightObligationWithDSP
    SRFO: NumberOfLinesInReport NumberOfSummaryRecords
    SU01: BlockId SummaryRecordId SalesTransactionId TransactedRelease TransactedResource IsRoyaltyBearing SalesUpgrade Usages Returns
        PriceConsumerPaidExcSalesTax PromotionalActivity
    SU02: BlockId SummaryRecordId SalesTransactionId TransactedRelease TransactedResource IsRoyaltyBearing NumberOfStreams
        PriceConsumerPaidExcSalesTax PromotionalActivity
    SU03 SU03.01: BlockId SalesTransactionId SummaryRecordId DspReleaseId Usages NetRevenue ValidityPeriodStart ValidityPeriodEnd
    SU03.02: BlockId SalesTransactionId SummaryRecordId DspResourceId Usages NetRevenue ValidityPeriodStart ValidityPeriodEnd
        ContentCategory IsRoyaltyBearing
    SY01: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Subscribers Currency NetRevenue IndirectNetRevenue
    SY01.01: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Subscribers CurrencyOfReporting NetRevenue IndirectNetRevenue CurrencyOfTransaction ExchangeRate
    SY02: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages Users
        Currency NetRevenue RightsController RightsControllerPartyId AllocatedUsages* AmountPayable* AllocatedNetRevenue
    SY02.01: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Users Currency NetRevenue RightsController RightsControllerPartyId AllocatedUsages* AllocatedRevenue* AllocatedNetRevenue
        RightsType
    SY02.02: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Users CurrencyOfReporting NetRevenue RightsController RightsControllerPartyId AllocatedUsages* AllocatedRevenue*
        AllocatedNetRevenue RightsType ContentCategory CurrencyOfTransaction ExchangeRate RightsTypePercentage
    SY03: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Subscribers Currency NetRevenue RightsController RightsControllerPartyId AllocatedUsages* AllocatedRevenue* AllocatedNetRevenue
        RightsControllerMarketShare ConsumerPaidUnitPrice FreeOrTrialSubscribers ExchangeRateBaseCurrency ExchangeRate
    SY04: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription
        SubscriberType Subscribers SubPeriodStartDate SubPeriodEndDate UsagesInSubPeriod UsagesInReportingPeriod Currency
        ExchangeRateBaseCurrency ExchangeRate ConsumerPaidUnitPrice NetRevenue
    SY04.01: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription
        SubscriberType Subscribers SubPeriodStartDate SubPeriodEndDate UsagesInSubPeriod UsagesInReportingPeriod CurrencyOfReporting
        CurrencyOfTransaction ExchangeRate ConsumerPaidUnitPrice NetRevenue MusicUsagePercentage
    SY05: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription
        RightsController RightsControllerPartyId RightsType TotalUsages AllocatedUsages* MusicUsageRatio AllocatedRevenue*
        AllocatedNetRevenue RightsControllerMarketShare
    SY05.02: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription
        RightsController RightsControllerPartyId RightsType TotalUsages AllocatedUsages* MusicUsageRatio AllocatedNetRevenue*
        AllocatedRevenue RightsControllerMarketShare CurrencyOfReporting CurrencyOfTransaction ExchangeRate SubscriberType
        SubPeriodStartDate SubPeriodEndDate ContentCategory RightsTypePercentage
    SY06.02: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory ServiceDescription Usages
        Subscribers CurrencyOfReporting NumberOfReleases NetRevenue IndirectNetRevenue PreviewAvailable CurrencyOfTransaction
        ExchangeRate ViewingHours
    SY07: SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType Territory RightsType ServiceDescription
        Usages Users Currency NetRevenue RightsController RightsControllerPartyId AllocatedUsages* AllocatedRevenue AllocatedNetRevenue
    SY09: SummaryRecordId CommercialModel UseType Territory ServiceDescription SubscriberType RightsController RightsControllerPartyId
        RightsType TotalUsages AllocatedUsages NetRevenue IndirectNetRevenue RightsControllerMarketShare CurrencyOfReporting
        CurrencyOfTransaction ExchangeRate RightsTypePercentage
    SY10: SummaryRecordId DistributionChannelName DistributionChannelDPID CommercialModel UseType ReportingPeriodStartDate
        ReportingPeriodEndDate SubscriberType Subscribers ActiveSubscribers PromotionalActivity Territory ServiceDescription OfferType
        Quality Usages AllocatedUsages Returns MusicUsageRatio CurrencyOfTransaction CurrencyOfAccounting ExchangeRate
        ExchangeRateSource DateOfCurrencyExchange GrossRevenueInCurrencyOfTransaction GrossRevenueInCurrencyOfAccounting
        CalculationType* CalculationValue* DeductionType* DeductionsInCurrencyOfTransaction* DeductionsInCurrencyOfAccounting*
        NetRevenueInCurrencyOfTransaction NetRevenueInCurrencyOfAccounting AllocatedRevenueInCurrencyOfTransaction
        AllocatedRevenueInCurrencyOfAccounting AllocatedNetRevenueInCurrencyOfTransaction AllocatedNetRevenueInCurrencyOfAccounting
        RightsControllerMarketShare SubscriptionFeeInCurrencyOfTransaction SubscriptionFeeInCurrencyOfAccounting
        UsageIndependentFeeType* UsageIndependentFeeInCurrencyOfTransaction* UsageIndependentFeeInCurrencyOfAccounting*
        FinalTotalAmountInCurrencyOfTransaction FinalTotalAmountInCurrencyOfAccounting
"""


def _known_cells() -> dict[str, tuple[str, ...]]:
    """The cells of each record after its first, by code; `*` stands behind those that hold several values."""
    known = {}
    for entry in re.split(r"\n {4}(?! )", _CELLS_OF.rstrip())[1:]:
        codes, _, cells = entry.partition(":")
        known.update(dict.fromkeys(codes.split(), tuple(cells.split())))
    return known


CELLS: Final[Mapping[str, tuple[str, ...]]] = _known_cells()
_ROW_KINDS: Final = frozenset({"SU", "RU", "LI", "SR"})
_HEADS: Final = frozenset({"HEAD", "SRHE"})
_FEET: Final = frozenset({"FOOT", "SRFO"})
_CODE: Final = re.compile(r"[A-Z]{2}[0-9]{2}(\.[0-9]{2})?")
_MAX_BLOCK: Final = 200_000
_MAX_SUMS: Final = 1_000_000
_ROWS_AT_ONCE: Final = 8_192


def _kind(code: str) -> str:
    return "HEAD" if code in _HEADS else "FOOT" if code in _FEET else code[:2]


COLUMNS: Final = (
    "record",
    *dict.fromkeys(f"{_kind(code)}_{cell.rstrip('*')}" for code, cells in CELLS.items() if code not in _FEET for cell in cells),
)


@dataclass(frozen=True)
class _Layout:
    """A record's kind, and the columns of its cells, in their order; `many`: those with several values."""

    kind: str
    columns: tuple[str, ...]
    many: frozenset[str]


def _layout(code: str, cells: Iterable[str]) -> _Layout:
    kind = _kind(code)
    told = [(f"{kind}_{cell.rstrip('*')}", cell.endswith("*")) for cell in cells]
    return _Layout(kind, tuple(column for column, _ in told), frozenset(column for column, is_many in told if is_many))


_LAYOUTS: Final = {code: _layout(code, cells) for code, cells in CELLS.items()}


@dataclass(frozen=True)
class Columns:
    """The columns of all reports."""

    columns: tuple[str, ...] = COLUMNS


def report_columns(_batch: Batch, _file: Delivered) -> Columns:
    """The columns of a report: those of every record that is known."""
    return Columns()


def report_records(batch: Batch, file: Delivered, _block: int) -> Iterator[Records]:
    """(line, cells as delivered, why a record cannot be read, values by column) of the sales and usages of a report, in blocks.

    Raises DeliveryError, which names the line, for what is no report, for a record that is not known, and for counts that are not so.
    """
    rows = _Report(batch, file).rows()
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        columns = dict.fromkeys(column for row in some for column in row.values)
        texts = {column: pa.array([row.values.get(column) for row in some], pa.string()) for column in columns}
        delivered = pa.array([json.dumps(row.values, ensure_ascii=False) for row in some], pa.string())
        yield pa.array([row.line for row in some], pa.int64()), delivered, pa.array([row.why for row in some], pa.string()), texts


@dataclass(frozen=True)
class _Record:
    """One line; `values`: its cells by column; `why`: what is wrong with it."""

    line: int
    code: str
    kind: str
    values: Mapping[str, str]
    why: str | None = None

    def cell(self, name: str) -> str | None:
        """One of its cells."""
        return self.values.get(f"{self.kind}_{name}")


@dataclass(frozen=True)
class _Row:
    line: int
    why: str | None
    values: Mapping[str, str]


@dataclass
class _Block:
    """What the sales and usages of a block are about; `why`: what is wrong with one of these records."""

    resources: dict[str, _Record] = field(default_factory=dict)
    by_service: dict[str, _Record] = field(default_factory=dict)
    releases: dict[str, _Record] = field(default_factory=dict)
    work: _Record | None = None
    why: str | None = None

    @classmethod
    def of(cls, records: Iterable[_Record]) -> Self:
        """The block of these records."""
        block = cls()
        for record in records:
            if record.kind == "AS":
                block.resources.setdefault((record.cell("ResourceReference") or ""), record)
                block.by_service.setdefault((record.cell("DspResourceId") or ""), record)
            elif record.code == "RE01":
                block.releases.setdefault((record.cell("ReleaseReference") or ""), record)
            elif record.kind == "MW":
                block.work = block.work or record
            if record.kind not in _ROW_KINDS:
                block.why = block.why or record.why
        return block

    def resource_of(self, sale: _Record) -> _Record | None:
        """The resource that a sale names: by its reference in the block, or the service's own identifier; unnamed, the only one."""
        asked = sale.cell("TransactedResource")
        if asked or sale.cell("TransactedRelease"):
            return self.resources.get(asked) if asked else None
        ids = ((sale.cell("DspResourceId") or ""), (sale.cell("DspReleaseId") or ""))
        named = next((self.by_service[name] for name in ids if name in self.by_service), None)
        return named or (next(iter(self.resources.values())) if len(self.resources) == 1 else None)

    def release_of(self, sale: _Record) -> _Record | None:
        """The release that a sale names; unnamed, the only one."""
        if asked := sale.cell("TransactedRelease"):
            return self.releases.get(asked)
        return next(iter(self.releases.values())) if len(self.releases) == 1 else None


@dataclass
class _Report:
    """One file, read from its first line to its last."""

    batch: Batch
    file: Delivered
    head: _Record | None = None
    foot: _Record | None = None
    sums: dict[str, _Record] = field(default_factory=dict)
    sum_count: int = 0
    lines: int = 0
    blocks: set[str] = field(default_factory=set)
    layouts: dict[str, _Layout] = field(default_factory=lambda: dict(_LAYOUTS))

    def rows(self) -> Iterator[_Row]:
        """The sales and usages."""
        block: list[_Record] = []
        for record in self._records():
            if record.kind == "SY":
                self._sum(record)
            elif record.kind == "SR":
                yield self._row(record, _Block())
            elif record.kind not in {"HEAD", "DE", "FOOT"}:
                if block and record.cell("BlockId") != block[0].cell("BlockId"):
                    yield from self._block(block)
                    block = []
                block.append(record)
                if len(block) > _MAX_BLOCK:
                    raise self._wrong(record.line, f"has a block of more than {_MAX_BLOCK} records")
        yield from self._block(block)
        self._check_counts()

    # lines
    def _records(self) -> Iterator[_Record]:
        for number, line in enumerate(self._lines(), start=1):
            self.lines = number
            if self.foot is not None and line.strip():
                raise self._wrong(number, "goes on behind its foot")
            if line.startswith(b"#"):
                self._learn(line.decode(errors="replace"))
                continue
            if not line.strip():
                continue
            record = self._record(number, line)
            if (record.kind == "HEAD") != (self.head is None):
                raise self._wrong(number, "is no sales report: it begins without a HEAD record" if self.head is None else "has two heads")
            self.head = self.head or record
            self.foot = record if record.kind == "FOOT" else None
            yield record

    def _lines(self) -> Iterator[bytes]:
        rest, number = b"", 0
        for chunk in chunks(self.batch, self.file):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                number += 1
                yield line.removesuffix(b"\r")
            if len(rest) > MAX_LINE:
                raise self._wrong(number + 1, f"has a line of more than {MAX_LINE >> 20} MB")
        if rest:
            yield rest

    def _learn(self, line: str) -> None:
        """A comment may name the cells of the records that follow; it is believed only of records that are not known."""
        code, *cells = line.removeprefix("#").split("\t")
        if _CODE.fullmatch(code) and code not in CELLS and cells:
            self.layouts[code] = _layout(code, (re.sub(r"\W", "", cell) for cell in cells))

    def _record(self, number: int, line: bytes) -> _Record:
        try:
            text, why = line.decode(), None
        except UnicodeDecodeError:
            text, why = line.decode(errors="replace"), "row: is no UTF-8"
        code, *cells = text.split("\t")
        code = code.strip()
        layout = self.layouts.get(code)
        if layout is None:
            raise self._wrong(number, f"has a record {code[:20]!r} that is not known here, and no comment that names its cells")
        while len(cells) > len(layout.columns) and not cells[-1].strip():
            cells.pop()
        if len(cells) > len(layout.columns):
            why = why or f"row: has {len(cells)} values, a record {code} has {len(layout.columns)}"
        values = {column: value for column, cell in zip(layout.columns, cells, strict=False) if (value := cell.strip())}
        if "\\" in text:
            values = {column: value if column in layout.many else _plain(value) for column, value in values.items()}
        return _Record(number, code, layout.kind, values, why)

    # what belongs together
    def _sum(self, record: _Record) -> None:
        self.sum_count += 1
        if self.sum_count > _MAX_SUMS:
            raise self._wrong(record.line, f"has more than {_MAX_SUMS} sums")
        self.sums.setdefault((record.cell("SummaryRecordId") or ""), record)

    def _block(self, records: list[_Record]) -> Iterator[_Row]:
        if not records:
            return
        self.blocks.add(records[0].cell("BlockId") or "")
        block = _Block.of(records)
        used: _Record | None = None
        for record in records:
            used = record if record.kind == "SU" else used
            if record.kind in _ROW_KINDS:
                yield self._row(record, block, used if record.kind == "LI" else None)

    def _row(self, record: _Record, block: _Block, used: _Record | None = None) -> _Row:
        """A record with those that belong to it: its head and sum, and of its block the usage, resource, work and release."""
        sale = used or record
        asked = record.cell("SummaryRecordId") or sale.cell("SummaryRecordId")
        only = next(iter(self.sums.values())) if len(self.sums) == 1 else None
        summed = self.sums.get(asked) if asked else only
        whole = (self.head, summed, block.release_of(sale), block.work, block.resource_of(sale), used, record)
        parts = [part for part in whole if part is not None]
        values = {"record": record.code}
        for part in parts:
            values |= part.values
        # A damaged line of a block may be the very one that belongs to a row: then none of the block is sure.
        why = next((part.why for part in (record, *parts) if part.why), block.why)
        return _Row(record.line, why, values)

    # the foot
    def _check_counts(self) -> None:
        if self.head is None or self.foot is None:
            what = "is no sales report: it is empty" if self.head is None else f"ends without a foot (line {self.lines})"
            raise self.batch.refuse(self.file.name, what, SEND_AGAIN)
        is_whole = self.head.cell("NumberOfFiles") in (None, "1")
        counts = {"NumberOfLinesInFile": self.lines, "NumberOfBlocksInFile": len(self.blocks)}
        if is_whole:
            counts |= {"NumberOfLinesInReport": self.lines, "NumberOfSummaryRecords": self.sum_count}
        for cell, count in counts.items():
            said = self.foot.cell(cell)
            if said is not None and said.strip() != str(count):
                raise self._wrong(self.foot.line, f"says {said} in {cell} of its foot, but has {count}")

    def _wrong(self, line: int, what: str) -> DeliveryError:
        return self.batch.refuse(self.file.name, f"{what} (line {line})", SEND_AGAIN)


def _plain(value: str) -> str:
    """A cell's text without escapes; a cell of several values stays as it is written, else its escaped delimiters would part them."""
    return re.sub(r"\\([\\|])", r"\1", value)
