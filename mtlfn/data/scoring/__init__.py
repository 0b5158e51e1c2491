"""The official metrics of five SemEval tasks: functions of gold and predictions alone, every value named."""
