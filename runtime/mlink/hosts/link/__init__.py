"""The link between hosts: sessions of Eclipse Zenoh, who is there, calls and their answers.

Zenoh is imported when a session opens. Its threads do not survive a fork: a process that has a
session must not fork afterwards.
"""
