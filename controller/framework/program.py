"""What this program is called where others see it, and which secrets of storage systems it must not show."""

from __future__ import annotations

from controller.runtime.program import Program

CEPH_KEY = r"\b(?:AQ[A-Za-z0-9+/]{36}==|Ag[A-Za-z0-9+/]{57}=)"
"""A key of Ceph in base64: type (1 aes, 2 aes256k), time and length in 12 bytes, then 16 or 32 bytes of key."""

PROGRAM = Program("rook", domain="rook.io", secrets=(CEPH_KEY,))
