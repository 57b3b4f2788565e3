"""Holds a CSV against the machine-readable rules of FOCUS 1.2 (the specification's conformance model).

Static MUST and MUST NOT rules are applied under the criteria that Neap declares. A rule about a column that is absent, and
need not be there, does not apply. `check` returns what failed and how many rules were applied.
"""
import collections
import csv
import io
import json
import re
from decimal import Decimal, InvalidOperation

# What Neap sells: no commitments, reservations or zones, one currency, one type of account.
CRITERIA = {
    "ACCOUNT_NAMING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "REGION_SUPPORTED",
    "TAGGING_SUPPORTED",
}
NUMERIC = re.compile(r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?(E-?[0-9]+)?$")
DATE_TIME = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")
CURRENCIES = {"USD", "EUR", "CNY", "GBP", "JPY", "CHF", "SGD", "HKD"}
# Capitalised units, "-" before a time unit, "/" before what they are counted by: the shapes the specification gives.
UNIT = re.compile(r"^[A-Z][A-Za-z0-9 ]*(-[A-Z][A-Za-z]*)?(/[A-Z0-9][A-Za-z0-9 ]*)?$")


def decimal(value):
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def is_key_value(value):
    try:
        parsed = json.loads(value)
    except ValueError:
        return False
    return isinstance(parsed, dict) and all(not isinstance(item, (dict, list)) for item in parsed.values())


class Checker:
    def __init__(self, model, text, criteria=CRITERIA):
        self.rules = model["ModelRules"]
        self.criteria = criteria
        reader = csv.DictReader(io.StringIO(text), strict=True)
        self.rows = list(reader)
        self.columns = set(reader.fieldnames or [])
        self.outcomes = {}

    def applies(self, rule):
        return set(rule.get("ApplicabilityCriteria") or []) <= self.criteria

    def outcome(self, name):
        """True or False; None where the rule does not apply."""
        if name not in self.outcomes:
            self.outcomes[name] = None
            self.outcomes[name] = self.judge(self.rules[name])
        return self.outcomes[name]

    def judge(self, rule):
        criteria = rule["ValidationCriteria"]
        if rule["Type"] != "Static" or "MUST" not in criteria["Keyword"] or not self.applies(rule):
            return None
        requirement = criteria["Requirement"]
        if requirement.get("CheckFunction") == "ColumnPresent":
            return requirement["ColumnName"] in self.columns
        if rule["EntityType"] == "Column" and rule["Reference"] not in self.columns:
            return None
        if requirement.get("CheckFunction") == "CheckDistinctCount":
            return self.has_distinct_count(requirement)
        if not requirement:
            return None
        condition = criteria.get("Condition") or None
        for row in self.rows:
            if condition and self.holds(condition, row) is not True:
                continue
            if self.holds(requirement, row) is False:
                return False
        return True

    def has_distinct_count(self, check):
        seen = collections.defaultdict(set)
        for row in self.rows:
            seen[row[check["ColumnAName"]]].add(row[check["ColumnBName"]])
        return all(len(values) == int(check["ExpectedCount"]) for values in seen.values())

    def holds(self, check, row):
        function = check["CheckFunction"]
        if function in ("AND", "OR"):
            results = [result for item in check["Items"] if (result := self.holds(item, row)) is not None]
            if not results:
                return None
            return all(results) if function == "AND" else any(results)
        if function == "CheckModelRule":
            return self.outcome(check["ModelRuleId"])
        names = [check[key] for key in ("ColumnName", "ColumnAName", "ColumnBName", "ResultColumnName") if key in check]
        if any(name not in self.columns for name in names):
            # An absent column is null in conditions; nothing else can be said of it.
            if function == "CheckValue":
                return check["Value"] is None
            return check["Value"] is not None if function == "CheckNotValue" else None
        values = [row[name] for name in names]
        return self.compare(function, check, values)

    @staticmethod
    def compare(function, check, values):
        value = values[0] if values else None
        if function == "CheckValue":
            return value == ("" if check["Value"] is None else str(check["Value"]))
        if function == "CheckNotValue":
            return value != ("" if check["Value"] is None else str(check["Value"]))
        if function == "CheckSameValue":
            return values[0] == values[1]
        if function == "CheckNotSameValue":
            return values[0] != values[1]
        if function == "CheckDecimalValue":
            return decimal(value) is not None
        if function == "ColumnByColumnEqualsColumnValue":
            return decimal(values[0]) * decimal(values[1]) == decimal(values[2])
        if value == "":
            return True
        if function == "CheckGreaterOrEqualThanValue":
            return decimal(value) is not None and decimal(value) >= Decimal(str(check["Value"]))
        if function in ("TypeDecimal", "FormatNumeric"):
            return NUMERIC.match(value) is not None
        if function in ("TypeDateTime", "FormatDateTime"):
            return DATE_TIME.match(value) is not None
        if function in ("TypeString", "FormatString"):
            return value.isprintable()
        if function == "FormatKeyValue":
            return is_key_value(value)
        if function in ("FormatCurrency", "CheckNationalCurrency"):
            return value in CURRENCIES
        if function == "FormatUnit":
            return UNIT.match(value) is not None
        raise ValueError(f"the model has a check this program does not know: {function}")


def check(model, text, criteria=CRITERIA):
    """(failed rules with their sentences, rules applied, rules that do not apply); of static MUST and MUST NOT rules."""
    checker = Checker(model, text, criteria)
    failed, applied, others = [], 0, 0
    for name, rule in checker.rules.items():
        if rule["Type"] != "Static" or "MUST" not in rule["ValidationCriteria"]["Keyword"]:
            continue
        outcome = checker.outcome(name)
        if outcome is None:
            others += 1
        else:
            applied += 1
        if outcome is False:
            failed.append((name, rule["ValidationCriteria"]["MustSatisfy"]))
    return failed, applied, others
