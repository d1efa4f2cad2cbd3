"""Messages: conversion of checked Python values to messages, and of messages to values.

Imports protocol, files, types, v1. Alone: ``make test ROOM=client/messages``.
"""
