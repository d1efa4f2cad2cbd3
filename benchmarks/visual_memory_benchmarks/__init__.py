"""Benchmarks of a running service: does a memory see as people do?"""
